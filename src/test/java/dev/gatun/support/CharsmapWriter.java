package dev.gatun.support;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Writes the tables that {@code Precompiled} normalizers have, by the layout of SentencePiece. */
public final class CharsmapWriter {
  private static final int UNITS = 1 << 13;

  private final int[] units = new int[UNITS];
  private final BitSet taken = new BitSet(UNITS);

  private CharsmapWriter() {}

  /** A state of the trie. */
  private static final class Node {
    private final TreeMap<Integer, Node> children = new TreeMap<>();
    private int value = -1;
  }

  /** Returns the base64 of a table that replaces keys by values. */
  public static String write(Map<String, String> replacements) {
    Node root = new Node();
    StringBuilder texts = new StringBuilder();
    for (Map.Entry<String, String> entry : new TreeMap<>(replacements).entrySet()) {
      Node node = root;
      for (byte b : entry.getKey().getBytes(StandardCharsets.UTF_8)) {
        node = node.children.computeIfAbsent(b & 0xff, c -> new Node());
      }
      node.value = texts.toString().getBytes(StandardCharsets.UTF_8).length;
      texts.append(entry.getValue()).append('\0');
    }
    CharsmapWriter writer = new CharsmapWriter();
    writer.taken.set(0);
    writer.units[0] = writer.place(0, root) << 10;
    return base64(writer.units, texts.toString().getBytes(StandardCharsets.UTF_8));
  }

  /** Returns the base64 of a table of units and texts, whether they make sense or not. */
  public static String base64(int[] units, byte[] texts) {
    ByteBuffer bytes =
        ByteBuffer.allocate(4 + 4 * units.length + texts.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.putInt(4 * units.length);
    Arrays.stream(units).forEach(bytes::putInt);
    bytes.put(texts);
    return Base64.getEncoder().encodeToString(bytes.array());
  }

  /** Finds room for the children of the node whose unit is there; returns their offset. */
  private int place(int at, Node node) {
    List<Integer> labels = new ArrayList<>(node.children.keySet());
    if (node.value >= 0) {
      labels.add(0);
    }
    int base = 256;
    while (!fits(base, labels)) {
      base++;
    }
    for (int label : labels) {
      taken.set(base ^ label);
    }
    if (node.value >= 0) {
      units[base] = node.value | 1 << 31;
    }
    for (Map.Entry<Integer, Node> child : node.children.entrySet()) {
      int unit = base ^ child.getKey();
      units[unit] =
          child.getKey()
              | (child.getValue().value >= 0 ? 1 << 8 : 0)
              | place(unit, child.getValue()) << 10;
    }
    return at ^ base;
  }

  private boolean fits(int base, List<Integer> labels) {
    for (int label : labels) {
      if (taken.get(base ^ label)) {
        return false;
      }
    }
    return true;
  }
}
