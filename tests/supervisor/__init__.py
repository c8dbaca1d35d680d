"""The supervisor and its worker processes: signals, reloads, crashes, the hand-over, all with real processes."""
