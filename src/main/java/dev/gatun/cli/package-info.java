/** The command line {@code gatun}: one class for each command, and what they share. */
package dev.gatun.cli;
