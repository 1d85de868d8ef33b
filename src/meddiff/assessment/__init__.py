"""Assess any image sets: scores, trained classifiers, the answer, a report."""
