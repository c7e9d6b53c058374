"""Deletion and insertion curves: do the places that an explanation names matter?"""
