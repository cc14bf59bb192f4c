package dev.gatun.support;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.random.RandomGenerator;

/** Changes of {@link Mutations} that leave a JSON document JSON. */
public final class JsonMutations {
  private static final JsonFactory FACTORY = new JsonFactory();

  private JsonMutations() {}

  /**
   * Changes one value: another value in its place, one taken out, put in twice, renamed, or taken
   * from elsewhere. Bytes that are no JSON any more are changed as bytes.
   *
   * @param words strings that mean something to the reader
   */
  public static byte[] change(
      byte[] json, List<byte[]> seeds, List<String> words, RandomGenerator random) {
    Object tree;
    try {
      tree = parse(json);
    } catch (IOException e) {
      return Mutations.changeBytes(json, seeds, random);
    }
    List<Place> places = new ArrayList<>();
    collect(new Object[] {tree}, places);
    Object donor = null;
    if (random.nextInt(4) == 0) {
      byte[] other = random.nextBoolean() ? json : seeds.get(random.nextInt(seeds.size()));
      List<Place> donors = new ArrayList<>();
      try {
        collect(new Object[] {parse(other)}, donors);
      } catch (IOException e) {
        throw new AssertionError("seeds are JSON", e);
      }
      donor = pick(donors, random).value();
    }
    return write(change(tree, pick(places, random), donor, words, random));
  }

  /** A value and what holds it: a Map, a List, or an array of the whole document. */
  private record Place(Object holder, Object key, Object value) {}

  /** One of the few places near the root as often as one of the many entries of a vocabulary. */
  private static Place pick(List<Place> places, RandomGenerator random) {
    int bound = random.nextBoolean() ? places.size() : Math.min(places.size(), 60);
    return places.get(random.nextInt(bound));
  }

  /** Breadth first. */
  private static void collect(Object[] root, List<Place> places) {
    places.add(new Place(root, 0, root[0]));
    for (int i = 0; i < places.size(); i++) {
      Object holder = places.get(i).value();
      if (holder instanceof Map<?, ?> map) {
        map.forEach((key, value) -> places.add(new Place(map, key, value)));
      } else if (holder instanceof List<?> list) {
        for (int k = 0; k < list.size(); k++) {
          places.add(new Place(list, k, list.get(k)));
        }
      }
    }
  }

  @SuppressWarnings("unchecked") // as parse() makes them
  private static Object change(
      Object tree, Place at, Object donor, List<String> words, RandomGenerator random) {
    Object value =
        donor != null
            ? donor
            : random.nextInt(5) < 2 ? changed(at.value(), words, random) : any(words, random);
    int kind = random.nextInt(8);
    switch (at.holder()) {
      case Map<?, ?> some -> {
        Map<Object, Object> map = (Map<Object, Object>) some;
        switch (kind) {
          case 0 -> map.remove(at.key());
          case 1 -> map.put(word(words, random), value);
          case 2 -> {
            map.remove(at.key());
            map.put(word(words, random), at.value());
          }
          case 3 -> map.put(at.key(), new ArrayList<>(Arrays.asList(at.value(), value)));
          default -> map.put(at.key(), value);
        }
      }
      case List<?> some -> {
        List<Object> list = (List<Object>) some;
        int index = (int) at.key();
        switch (kind) {
          case 0 -> list.remove(index);
          case 1 -> list.add(index, value);
          case 2 -> list.add(index, at.value());
          default -> list.set(index, value);
        }
      }
      default -> {
        return value;
      }
    }
    return tree;
  }

  /** A value of the same type. */
  private static Object changed(Object value, List<String> words, RandomGenerator random) {
    return switch (value) {
      case Boolean bool -> !bool;
      case Number number -> number(random);
      case String text when text.isEmpty() || random.nextBoolean() -> word(words, random);
      case String text -> {
        int at = text.offsetByCodePoints(0, random.nextInt(text.codePointCount(0, text.length())));
        String other = word(words, random);
        yield random.nextBoolean()
            ? text.substring(0, at)
            : text.substring(0, at) + other + text.substring(at);
      }
      case List<?> list when !list.isEmpty() ->
          new ArrayList<>(list.subList(0, random.nextInt(list.size())));
      case null, default -> any(words, random);
    };
  }

  private static Object any(List<String> words, RandomGenerator random) {
    return switch (random.nextInt(8)) {
      case 0 -> null;
      case 1 -> random.nextBoolean();
      case 2, 3 -> number(random);
      case 4 -> new ArrayList<>();
      case 5 -> new LinkedHashMap<>();
      default -> word(words, random);
    };
  }

  private static Object number(RandomGenerator random) {
    return switch (random.nextInt(5)) {
      case 0 -> random.nextDouble(-20, 20);
      case 1 -> random.nextBoolean() ? 1e308 : -1e-308;
      default -> Mutations.number(random);
    };
  }

  private static String word(List<String> words, RandomGenerator random) {
    return words.isEmpty() || random.nextInt(8) == 0
        ? Character.toString(1 + random.nextInt(0xd000)).repeat(1 + random.nextInt(3))
        : words.get(random.nextInt(words.size()));
  }

  // ---- reading and writing -------------------------------------------------------------------

  private static Object parse(byte[] json) throws IOException {
    try (JsonParser parser = FACTORY.createParser(json)) {
      if (parser.nextToken() == null) {
        return null;
      }
      Object value = parse(parser);
      if (parser.nextToken() != null) {
        throw new IOException("more than one value");
      }
      return value;
    }
  }

  private static Object parse(JsonParser parser) throws IOException {
    return switch (parser.currentToken()) {
      case START_OBJECT -> {
        Map<Object, Object> map = new LinkedHashMap<>();
        while (parser.nextToken() != JsonToken.END_OBJECT) {
          String name = parser.currentName();
          parser.nextToken();
          map.put(name, parse(parser));
        }
        yield map;
      }
      case START_ARRAY -> {
        List<Object> list = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
          list.add(parse(parser));
        }
        yield list;
      }
      case VALUE_STRING -> parser.getText();
      case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> parser.getNumberValue();
      case VALUE_TRUE -> true;
      case VALUE_FALSE -> false;
      default -> null;
    };
  }

  private static byte[] write(Object tree) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (JsonGenerator json = FACTORY.createGenerator(bytes)) {
      write(json, tree);
    } catch (IOException e) {
      throw new AssertionError("bytes in memory", e);
    }
    return bytes.toByteArray();
  }

  private static void write(JsonGenerator json, Object value) throws IOException {
    switch (value) {
      case null -> json.writeNull();
      case Map<?, ?> map -> {
        json.writeStartObject();
        for (Map.Entry<?, ?> entry : map.entrySet()) {
          json.writeFieldName((String) entry.getKey());
          write(json, entry.getValue());
        }
        json.writeEndObject();
      }
      case List<?> list -> {
        json.writeStartArray();
        for (Object element : list) {
          write(json, element);
        }
        json.writeEndArray();
      }
      case String text -> json.writeString(text);
      case Boolean bool -> json.writeBoolean(bool);
      case Number number -> json.writeNumber(number.toString());
      default -> throw new AssertionError(value.getClass());
    }
  }
}
