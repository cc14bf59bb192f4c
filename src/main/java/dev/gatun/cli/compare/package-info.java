/** What {@code gatun compare} measures: exact attention, its ancestor and its relatives. */
package dev.gatun.cli.compare;
