"""Published checksums of the sources."""

MD5 = {
    "ISBI2016_ISIC_Part1_Training_Data.zip": "2029f387e62dcc062b1370b1efc1f7fb",
    "ISBI2016_ISIC_Part1_Training_GroundTruth.zip": "fbd77134298f3511479a37bac93109c7",
    "ISBI2016_ISIC_Part1_Test_Data.zip": "efebcaeaae751007401a40a60d391f93",
    "ISBI2016_ISIC_Part1_Test_GroundTruth.zip": "492a7711a2e19b96114cab6c96bd1ad5",
    "MedNIST.tar.gz": "0bc7306e7427e00ad1c5526a6677552d",
}
"""MD5 by file name; Kaggle publishes none."""
