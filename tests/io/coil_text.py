"""A made-up coefficient file, laid out as Siemens does."""

COIL = """\
#*[ made up for tests ]*#
#*[ no scanner has this coil ]*#
 TEST coil
 win_low = 0, win_high = 0, win_algo = 0, win_dummy = 2;
 0.250 m = R0, lnorm = 4? A(1,1) = B(1,1) = A(1,0) = 0
 0 = CoSyMode,
 Expansion in Spherical Harmonics
 ================================
 NO.  TYPE            SPECTRUM            AXIS

   1  A( 3, 0)        -0.15000000         z
   2  A( 5, 0)         5.0e-2             z

 101  A( 3, 1)        -0.12000000         x
 102  A( 3, 3)         0.03000000         x

 201  B( 3, 1)        -0.11000000         y
"""
