package dev.gatun.internal;

import dev.gatun.GatunException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Supplier;

/**
 * A value of a JSON document that knows where it stands, so that what is wrong with it can be said:
 * {@code truncation.stride: expected a whole number from 0 to 510, got 600}.
 *
 * <p>Documents are a stranger's: a key that stands twice, text that is no Unicode and nesting
 * deeper than 500 are refused. Immutable. Every accessor throws IllegalArgumentException where the
 * value is of another type.
 */
public final class Json {

  /** Files larger than this are no description of a model. */
  private static final long MAX_BYTES = 1L << 29;

  private static final int MAX_SHOWN = 40;

  /** What a decoder puts in the place of bytes that are no UTF-8. */
  private static final char REPLACEMENT = '\ufffd';

  /** Whether jackson-core has read a first document. */
  private static volatile boolean loaded;

  static {
    allowClassPath();
  }

  /** The object or array that holds this; null for the document itself. */
  private final Json holder;

  /** The name or the index in it; only spelled out where a message needs it. */
  private final Object key;

  /** What {@link JsonText#read} makes: a Map, List, String, Number, Boolean or null. */
  private final Object value;

  /** Of a document: its text, and where in it the members are; else null. */
  private final Source source;

  private record Source(String text, Map<String, JsonText.Place> places) {}

  private Json(Json holder, Object key, Object value) {
    this.holder = holder;
    this.key = key;
    this.value = value;
    this.source = null;
  }

  private Json(Object document, Source source) {
    this.holder = null;
    this.key = null;
    this.value = document;
    this.source = source;
  }

  /** Lets this module use jackson-core where it lies on the class path. */
  public static void allowClassPath() {
    Json.class.getModule().addReads(Json.class.getClassLoader().getUnnamedModule());
  }

  // ---- reading -------------------------------------------------------------------------------

  /** Reads a document in UTF-8. Throws IllegalArgumentException where it is no JSON, and why. */
  public static Json parse(byte[] utf8) {
    return parse(utf8, false);
  }

  private static Json parse(byte[] utf8, boolean infinities) {
    String text = new String(utf8, StandardCharsets.UTF_8);
    if (text.indexOf(REPLACEMENT) < 0) { // nothing was replaced, and surrogates are pairs
      return parse(text, text.contains("\\u"), infinities);
    }
    try {
      String strict = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
      return parse(strict, true, infinities);
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException("expected JSON in UTF-8, got other bytes", e);
    }
  }

  /** The same; throws GatunException as well, if jackson-core is missing. */
  public static Json parse(String text) {
    return parse(text, true, false);
  }

  private static Json parse(String text, boolean halves, boolean infinities) {
    load("JSON");
    try {
      Map<String, JsonText.Place> places = new LinkedHashMap<>();
      return new Json(JsonText.read(text, halves, infinities, places), new Source(text, places));
    } catch (LinkageError e) {
      throw missing("JSON", e);
    }
  }

  /** Loads jackson-core, which the subject needs, where the whole stack is free. */
  public static void load(String subject) {
    if (!loaded) {
      loaded = FreshThread.call("gatun-json", new Loading(subject));
    }
  }

  private record Loading(String subject) implements Supplier<Boolean> {
    @Override
    public Boolean get() {
      try {
        JsonText.read("{\"a\": [1, -2.5e3, \"\\u00e9\", true, null]}", true, false, null);
        return true;
      } catch (LinkageError e) {
        throw missing(subject, e);
      }
    }
  }

  /**
   * Reads a file, in which numbers may be infinite, as Python writes them. Throws IOException with
   * its name if it cannot be read or is no JSON.
   */
  public static Json read(Path file) throws IOException {
    requireFile(file);
    long size = Files.size(file);
    if (size > MAX_BYTES) {
      throw new FileSystemException(
          file.toString(),
          null,
          "expected JSON of at most %d bytes, got %d".formatted(MAX_BYTES, size));
    }
    try {
      return parse(Files.readAllBytes(file), true);
    } catch (IllegalArgumentException e) {
      throw refused(file, e);
    }
  }

  /** Makes the exception for a file that is not as it should be; its message names the file. */
  public static FileSystemException refused(Path file, IllegalArgumentException e) {
    FileSystemException named = new FileSystemException(file.toString(), null, e.getMessage());
    named.initCause(e);
    return named;
  }

  /** Refuses a directory, of which reading would say no name. */
  public static void requireFile(Path file) throws FileSystemException {
    if (Files.isDirectory(file)) {
      throw new FileSystemException(file.toString(), null, "expected a file, got a directory");
    }
  }

  /** Makes the exception for a JVM without jackson-core, which the subject needs. */
  public static GatunException missing(String what, LinkageError cause) {
    return new GatunException(
        what
            + " needs com.fasterxml.jackson.core:jackson-core 2.16 or newer: add it to the class"
            + " path, or to the module path with --add-modules com.fasterxml.jackson.core",
        cause);
  }

  // ---- what it is ----------------------------------------------------------------------------

  /**
   * {@return where the value stands, such as {@code normalizer.normalizers[2]}; empty for the
   * document itself}
   */
  public String path() {
    StringBuilder path = new StringBuilder();
    appendPath(path);
    return path.toString();
  }

  private void appendPath(StringBuilder path) {
    if (holder == null) {
      return;
    }
    holder.appendPath(path);
    if (key instanceof Integer) {
      path.append('[').append(key).append(']');
    } else {
      path.append(path.isEmpty() ? "" : ".").append(key);
    }
  }

  /** {@return whether this is null, or a member that {@link #find} did not find} */
  public boolean isNull() {
    return value == null;
  }

  /** {@return whether this is an object} */
  public boolean isObject() {
    return value instanceof Map;
  }

  /** {@return whether this is a string} */
  public boolean isString() {
    return value instanceof String;
  }

  // ---- objects and arrays --------------------------------------------------------------------

  /** {@return the names of an object's members, in the order of the document} */
  public Set<String> names() {
    return Collections.unmodifiableSet(members().keySet());
  }

  /** {@return the member of an object; one that {@link #isNull} if there is none} */
  public Json find(String name) {
    return new Json(this, name, members().get(name));
  }

  /** {@return the member of an object, which must be there and must not be null} */
  public Json get(String name) {
    Json member = find(name);
    if (member.isNull()) {
      throw member.expected("a value", members().containsKey(name) ? "null" : "none");
    }
    return member;
  }

  /** {@return the elements of an array, in the order of the document} */
  public List<Json> elements() {
    if (!(value instanceof List<?> list)) {
      throw expected("an array");
    }
    List<Json> elements = new ArrayList<>(list.size());
    for (int i = 0; i < list.size(); i++) {
      elements.add(new Json(this, i, list.get(i)));
    }
    return elements;
  }

  /** Gives the name of every member of an object, and the member, to a method. */
  public void forEach(BiConsumer<String, Json> action) {
    members().forEach((name, member) -> action.accept(name, new Json(this, name, member)));
  }

  /** Refuses members of an object whose names are not known. */
  public void only(Set<String> known) {
    for (String name : members().keySet()) {
      if (!known.contains(name)) {
        throw expected("only the keys " + known, quoted(name));
      }
    }
  }

  @SuppressWarnings("unchecked") // as read() makes them
  private Map<String, Object> members() {
    if (!(value instanceof Map<?, ?> members)) {
      throw expected("an object");
    }
    return (Map<String, Object>) members;
  }

  // ---- strings, numbers, booleans ------------------------------------------------------------

  /** {@return the characters of a string} */
  public String string() {
    if (!(value instanceof String string)) {
      throw expected("a string");
    }
    return string;
  }

  /** {@return a whole number within these bounds, both of which are allowed} */
  public long integer(long least, long most) {
    if (!(value instanceof Long number) || number < least || number > most) {
      throw expected("a whole number from %d to %d".formatted(least, most));
    }
    return number;
  }

  /** {@return the double nearest to a number, which is finite} */
  public double number() {
    if (value instanceof Number number && Double.isFinite(number.doubleValue())) {
      return number.doubleValue();
    }
    throw expected("a number");
  }

  /**
   * {@return the same, or an infinity: {@code Infinity} of a file, or as transformers 5 writes it,
   * {@code {"__float__": "Infinity"}}}
   */
  public double numberOrInfinity() {
    Object text = value instanceof Number ? value.toString() : null;
    if (value instanceof Map<?, ?> members && members.size() == 1) {
      text = members.get("__float__");
    }
    return JsonText.INFINITY.equals(text)
        ? Double.POSITIVE_INFINITY
        : ("-" + JsonText.INFINITY).equals(text) ? Double.NEGATIVE_INFINITY : number();
  }

  /** {@return the value of a boolean} */
  public boolean bool() {
    if (!(value instanceof Boolean bool)) {
      throw expected("true or false");
    }
    return bool;
  }

  /** {@return true or false, or something else where {@link #isNull}} */
  public boolean boolOr(boolean otherwise) {
    return isNull() ? otherwise : bool();
  }

  // ---- messages and writing ------------------------------------------------------------------

  /** Makes the exception for a value that is not what was expected. */
  public IllegalArgumentException expected(String what) {
    return expected(what, shown());
  }

  private IllegalArgumentException expected(String what, String got) {
    String path = path();
    String where = path.isEmpty() ? "the document" : Messages.line(path);
    return new IllegalArgumentException("%s: expected %s, got %s".formatted(where, what, got));
  }

  private String shown() {
    return switch (value) {
      case null -> "none";
      case Map<?, ?> members -> "an object of %d members".formatted(members.size());
      case List<?> elements -> "an array of %d elements".formatted(elements.size());
      case String string -> quoted(string);
      default -> Messages.shortened(value.toString(), MAX_SHOWN);
    };
  }

  static String quoted(String text) {
    return "\"" + Messages.shortened(text, MAX_SHOWN) + "\"";
  }

  /**
   * {@return the text of a document that is an object, without the members of these names; the
   * others as they were written}
   */
  public String textWithout(String... names) {
    Set<String> left = new LinkedHashSet<>(members().keySet());
    left.removeAll(Set.of(names));
    StringBuilder text = new StringBuilder(source.text.length()).append('{');
    for (String name : left) {
      JsonText.Place place = source.places.get(name);
      text.append(text.length() == 1 ? "" : ",").append(source.text, place.begin(), place.end());
    }
    return text.append('}').toString();
  }

  /** {@return a copy of an object with the members of another one that it does not have} */
  public Json or(Json others) {
    Map<String, Object> members = new LinkedHashMap<>(others.members());
    members.putAll(members());
    return new Json(holder, key, members);
  }

  /** Returns the value as JSON, without blanks. Numbers are equal to those that were read. */
  @Override
  public String toString() {
    return JsonText.write(value);
  }
}
