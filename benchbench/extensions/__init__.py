"""What stands around the instrument: each folder uses the rooms beside this one, and none of them knows of it."""
