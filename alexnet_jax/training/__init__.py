"""How it learns: the 2012 update rule, schedules, the step, the loop."""
