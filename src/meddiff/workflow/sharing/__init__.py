"""Share, restore and verify what a run made, through DVC."""
