"""Anybody's image sets assessed: scores, trained classifiers, the answer, a report."""
