"""Real crashes: nodes as processes under load, killed at random moments, put back in time, left without room."""
