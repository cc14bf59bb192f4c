/**
 * Tensors in files, mapped and not copied: {@link dev.gatun.io.Npy NumPy's npy format}, {@link
 * dev.gatun.io.Safetensors safetensors}, and the weights of {@link dev.gatun.io.OnnxFile ONNX
 * models}.
 */
package dev.gatun.io;
