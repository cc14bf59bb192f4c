package dev.gatun.cli.compare;

import java.util.List;
import java.util.stream.Collectors;

/** All systems, in the order of the tables. */
public final class Systems {
  private static final List<CompareSystem> ALL =
      List.of(
          ExactSystem.EXACT,
          new NaiveSystem(),
          ExactSystem.UNSCALED,
          ExactSystem.WINDOW,
          ExactSystem.BLOCK_SPARSE,
          MechanismSystem.LINFORMER,
          MechanismSystem.PERFORMER,
          MechanismSystem.LINEAR,
          MechanismSystem.ADDITIVE,
          new ScanSystem(),
          new ScalarScanSystem(),
          RecurrentSystem.LSTM,
          RecurrentSystem.GRU);

  private Systems() {}

  /** {@return all of them} */
  public static List<CompareSystem> all() {
    return ALL;
  }

  /**
   * Finds a system.
   *
   * @param word its name
   * @return null if there is none
   */
  public static CompareSystem of(String word) {
    return ALL.stream().filter(system -> system.word().equals(word)).findFirst().orElse(null);
  }

  /** {@return all names, for messages} */
  public static String words() {
    return ALL.stream().map(CompareSystem::word).collect(Collectors.joining(", "));
  }
}
