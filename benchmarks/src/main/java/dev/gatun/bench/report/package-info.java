/** Results as Markdown and plots. */
package dev.gatun.bench.report;
