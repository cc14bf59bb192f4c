/**
 * Layers of a Transformer on off-heap tensors: products with packed weights by kernels of our own,
 * or with views by OpenBLAS, over the runtime's threads, element loops in C, attention by the
 * kernels of {@link dev.gatun.Attention}. {@link dev.gatun.nn.TransformerEncoder} and {@link
 * dev.gatun.nn.TransformerDecoder} put them together, {@link dev.gatun.nn.Generator} and {@link
 * dev.gatun.nn.BeamSearch} choose tokens. Layers are immutable and keep their weights by reference;
 * what a call writes lives in a {@link dev.gatun.Workspace}.
 */
package dev.gatun.nn;
