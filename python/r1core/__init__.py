"""r1core: the whole DeepSeek-R1 recipe in one pip install."""
