"""What takes too long to stand among the unit tests: a day of ten thousand registrations, the compiled build, the media
engines on real sockets and in a process of their own. `engine_contract.py` is what every engine promises."""
