/** What {@code java -jar gatun.jar} starts. Compiled for Java 8; not exported. */
package dev.gatun.launcher;
