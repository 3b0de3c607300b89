"""Sparse Jacobians and Hessians. The files are the pipeline.

    pattern     which outputs depend on which inputs, by bit sets carried along the graph
    graph       the pattern as rows of columns and columns of rows, or as neighbours
    order       in which order vertices are coloured
    coloring    groups of columns (rows, both) that one sweep can compute together
    compress    the sweeps
    decompress  the nonzeros, read off the compressed Jacobian
    api         what users call

Read with profit: Gebremedhin, Manne and Pothen, "What color is your Jacobian?" (SIAM Review 47, 2005), and the package
SparseMatrixColorings.jl.
"""
