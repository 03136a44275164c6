"""Coverage-guided fuzzing of everything that reads bytes from strangers. `test_fuzz.py` runs each target for a while."""
