"""The forward model B = K * I + N: kernels, convolution, noise, and the named degradations made of them."""
