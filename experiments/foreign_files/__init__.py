"""Do our readers compute what the programs compute whose files they read?"""
