/**
 * Families of models as configurations of the layers in {@link dev.gatun.nn}: a {@link
 * dev.gatun.model.StackConfig}, a map of {@link dev.gatun.model.WeightNames}, and {@link
 * dev.gatun.model.Weights} by name. BERT has more: encoders that run off-heap from token ids to
 * vector, ONNX files, and tokenizers; {@link dev.gatun.model.TextEmbedder} is where to begin there.
 */
package dev.gatun.model;
