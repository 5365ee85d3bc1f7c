"""What is looked at to say whether all is well: one list, filled by the apps, for every page, probe and alarm."""
