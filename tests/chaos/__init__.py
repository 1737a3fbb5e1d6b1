"""Bad lines: nodes as processes under load, and between them a proxy that does to their bytes what networks do."""
