"""The revisions, one file each. They only go forward: the way back is the backup made before."""
