/**
 * Real architectures: BERT-family encoders that run off-heap from token ids to vector, the weights
 * and tokenisers in their files, and the models that are known by name. {@link
 * dev.gatun.model.TextEmbedder} is where to begin.
 */
package dev.gatun.model;
