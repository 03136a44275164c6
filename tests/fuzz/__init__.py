"""Coverage-guided fuzzing of all that reads bytes from strangers. `test_fuzz.py` runs each target for a while."""
