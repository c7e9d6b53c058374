"""Changed copies of photos: what is found of them, and what else is taken for one."""
