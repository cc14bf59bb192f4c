package dev.gatun.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Tokens by id and ids by token: two hash tables of numbers over one list. Immutable once made. */
final class TokenTable {
  private final String[] tokens;
  private final int[] ids;
  private final int[] byToken;
  private final int[] byId;

  /** Gathers the entries; of two with one token or one id, the last counts. */
  static final class Builder {
    private final List<String> tokens = new ArrayList<>();
    private int[] ids = new int[1024];

    void add(String token, int id) {
      if (tokens.size() == ids.length) {
        ids = Arrays.copyOf(ids, 2 * ids.length);
      }
      ids[tokens.size()] = id;
      tokens.add(token);
    }

    TokenTable build() {
      return new TokenTable(tokens.toArray(String[]::new), ids);
    }
  }

  private TokenTable(String[] tokens, int[] ids) {
    this.tokens = tokens;
    this.ids = ids;
    int slots = Math.max(4, Integer.highestOneBit(tokens.length) << 2);
    byToken = new int[slots];
    byId = new int[slots];
    for (int i = 0; i < tokens.length; i++) {
      byToken[tokenSlot(tokens[i])] = i + 1;
      byId[idSlot(ids[i])] = i + 1;
    }
  }

  /** Returns the id of a token, or -1. */
  int id(String token) {
    int entry = byToken[tokenSlot(token)];
    return entry == 0 ? -1 : ids[entry - 1];
  }

  /** Returns the token of an id, or null. */
  String token(int id) {
    int entry = byId[idSlot(id)];
    return entry == 0 ? null : tokens[entry - 1];
  }

  private int tokenSlot(String token) {
    int slot = start(token.hashCode());
    while (byToken[slot] != 0 && !tokens[byToken[slot] - 1].equals(token)) {
      slot = slot + 1 & byToken.length - 1;
    }
    return slot;
  }

  private int idSlot(int id) {
    int slot = start(id);
    while (byId[slot] != 0 && ids[byId[slot] - 1] != id) {
      slot = slot + 1 & byId.length - 1;
    }
    return slot;
  }

  /** Multiplies by 2³² over the golden ratio, whose highest bits depend on all bits of the hash. */
  private int start(int hash) {
    return hash * 0x9e3779b9 >>> Integer.numberOfLeadingZeros(byToken.length - 1);
  }
}
