"""Files that leave this machine: made of records and figures alone, without a model and without a screen."""
