/** Tensors in files: {@link dev.gatun.io.Npy NumPy's npy format}, mapped and not copied. */
package dev.gatun.io;
