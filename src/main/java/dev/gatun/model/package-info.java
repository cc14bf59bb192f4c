/**
 * Real architectures and what their files hold: the weights of BERT-family encoders, their
 * tokenisers, and the models that are known by name.
 */
package dev.gatun.model;
