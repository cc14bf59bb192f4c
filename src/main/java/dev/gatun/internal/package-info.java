/**
 * The way into native code: the loader, and for each header the one class that touches what is
 * generated from it. Not exported.
 */
package dev.gatun.internal;
