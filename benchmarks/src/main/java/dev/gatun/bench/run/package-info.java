/** The measurements, each a main class that writes rows as JSON; JMH's benchmarks among them. */
package dev.gatun.bench.run;
