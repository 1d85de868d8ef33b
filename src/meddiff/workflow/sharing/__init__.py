"""Share, restore and verify the files of a run, through DVC."""
