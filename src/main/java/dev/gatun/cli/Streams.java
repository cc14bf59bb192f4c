package dev.gatun.cli;

import java.io.InputStream;
import java.io.PrintWriter;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.util.function.IntPredicate;

/**
 * The standard streams of a command, and which of them is a terminal.
 *
 * @param terminals whether a file descriptor is one: 0, 1 or 2
 */
record Streams(InputStream in, PrintWriter out, PrintWriter err, IntPredicate terminals) {

  /** For commands that nobody pipes anything into: as if typed at a terminal that shows nothing. */
  static Streams withoutInput(PrintWriter out, PrintWriter err) {
    return new Streams(InputStream.nullInputStream(), out, err, descriptor -> descriptor == 0);
  }

  boolean inIsTerminal() {
    return terminals.test(0);
  }

  boolean outIsTerminal() {
    return terminals.test(1);
  }

  boolean errIsTerminal() {
    return terminals.test(2);
  }

  /** Asks the C library: System.console() knows of input and output only together. */
  static boolean isTerminal(int descriptor) {
    try {
      Linker linker = Linker.nativeLinker();
      return (int)
              linker
                  .downcallHandle(
                      linker.defaultLookup().findOrThrow("isatty"),
                      FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT))
                  .invokeExact(descriptor)
          == 1;
    } catch (Throwable e) { // without native access, say; the command itself will complain of it
      return false;
    }
  }
}
