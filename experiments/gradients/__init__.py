"""Are gradients of images those of the plain form, on flat pictures, too?"""
