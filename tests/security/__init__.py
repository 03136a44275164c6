"""Attacks, one test for each. `SBC_TESTS=full` runs the long ones at full size, else they are cut to some seconds."""
