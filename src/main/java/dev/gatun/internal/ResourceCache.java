package dev.gatun.internal;

import dev.gatun.GatunException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;

/**
 * Puts resources of the class path into files, for those who need a file.
 *
 * <p>Safe against other processes and other users: the folder is named by a hash of what the
 * content is known by, belongs to this user alone, and a file gets its name only when it is
 * complete. A file that is already there is used if its content is right, and replaced if not.
 *
 * <p>Content is known by its size and CRC-32, which a jar tells without unpacking: reading and
 * hashing libraries took a quarter of the time to the first call. They find damage; nobody else can
 * write into the folder.
 */
final class ResourceCache {

  static final String PROPERTY = "gatun.cache";

  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rwx------");
  private static final FileAttribute<?> PRIVATE_FOLDER =
      PosixFilePermissions.asFileAttribute(PRIVATE);

  private static final int BUFFER_BYTES = 1 << 16;
  private static final int CRC_DIGITS = 8;

  private ResourceCache() {}

  /** A resource and the file name it is extracted to. */
  record Resource(String name, URL url) {}

  /**
   * Puts resources side by side into one private folder that is named by their content.
   *
   * @return the files, in the same order
   * @throws GatunException if a resource cannot be read, or the folder cannot be used
   */
  static List<Path> extract(List<Resource> resources) {
    List<Content> contents = new ArrayList<>();
    for (Resource resource : resources) {
      contents.add(content(resource));
    }
    Path folder = folder();
    try {
      requirePrivate(folder);
      folder = folder.resolve(name(contents));
      requirePrivate(folder);
      List<Path> files = new ArrayList<>();
      for (int i = 0; i < contents.size(); i++) {
        files.add(place(folder, resources.get(i), contents.get(i)));
      }
      return files;
    } catch (IOException e) {
      throw new GatunException(
          "%s: cannot extract %s there: %s. Name another folder with -D%s"
              .formatted(folder, resources.getLast().url, describe(e), PROPERTY),
          e);
    }
  }

  /**
   * A copy of a file under a name that nobody else has, deleted when it is closed. A library that
   * has been loaded from it stays in memory.
   *
   * @param file the copy
   */
  record Copy(Path file) implements AutoCloseable {
    @Override
    public void close() throws IOException {
      Files.deleteIfExists(file);
      Files.deleteIfExists(file.getParent());
    }
  }

  /**
   * Copies a file into a private folder of its own.
   *
   * @param file what to copy
   * @return a copy that the caller closes
   * @throws GatunException if the folder cannot be used
   */
  static Copy copy(Path file) {
    Path root = folder();
    try {
      requirePrivate(root);
      Path folder = Files.createTempDirectory(root, "copy-", PRIVATE_FOLDER);
      Copy copy = new Copy(folder.resolve(file.getFileName()));
      try {
        Files.copy(file, copy.file);
      } catch (IOException e) {
        copy.close();
        throw e;
      }
      return copy;
    } catch (IOException e) {
      throw new GatunException(
          "%s: cannot copy %s there: %s. Name another folder with -D%s"
              .formatted(root, file, describe(e), PROPERTY),
          e);
    }
  }

  /** What bytes are known by. */
  private record Content(long size, long crc) {
    boolean is(Content other) { // equals of a record is linked when it is first called: 10 ms
      return size == other.size && crc == other.crc;
    }
  }

  private static String name(List<Content> contents) {
    StringBuilder name = new StringBuilder();
    for (Content content : contents) {
      String crc = Long.toHexString(content.crc);
      name.append(name.isEmpty() ? "" : "-")
          .append(Long.toHexString(content.size))
          .append('-')
          .append("0".repeat(CRC_DIGITS - crc.length()))
          .append(crc);
    }
    return name.toString();
  }

  private static Content content(Resource resource) {
    try {
      if (Resources.open(resource.url) instanceof JarURLConnection connection) {
        try (JarFile _ = connection.getJarFile()) {
          JarEntry entry = connection.getJarEntry();
          if (entry != null && entry.getSize() >= 0 && entry.getCrc() >= 0) {
            return new Content(entry.getSize(), entry.getCrc());
          }
        }
      }
      try (InputStream in = open(resource)) {
        return content(in);
      }
    } catch (IOException e) {
      throw new GatunException("%s: cannot be read: %s".formatted(resource.url, describe(e)), e);
    }
  }

  private static InputStream open(Resource resource) throws IOException {
    return Resources.open(resource.url).getInputStream();
  }

  private static Path folder() {
    String property = System.getProperty(PROPERTY);
    String temporary = System.getProperty("java.io.tmpdir", "/tmp");
    try {
      return property != null
          ? Path.of(property).toAbsolutePath()
          : Path.of(temporary, "gatun-" + userId()).toAbsolutePath();
    } catch (InvalidPathException e) {
      throw new GatunException(
          property != null
              ? "-D%s=%s is no folder name: %s".formatted(PROPERTY, property, e.getReason())
              : "-Djava.io.tmpdir=%s is no folder name: %s. Name another folder with -D%s"
                  .formatted(temporary, e.getReason(), PROPERTY),
          e);
    }
  }

  /** The numeric id of this process's user; not its name, which need not exist in a container. */
  private static int userId() {
    try {
      return (int) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
    } catch (IOException e) {
      throw new GatunException("/proc/self: cannot be read: " + describe(e), e);
    }
  }

  /** Makes the folder if it is missing, and refuses one that another user could have prepared. */
  private static void requirePrivate(Path folder) throws IOException {
    try {
      Files.createDirectory(folder, PRIVATE_FOLDER);
    } catch (FileAlreadyExistsException e) {
      // checked below like a new one
    }
    if (!Files.isDirectory(folder, LinkOption.NOFOLLOW_LINKS)) {
      throw new IOException("it is not a folder");
    }
    int owner = (int) Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS);
    if (owner != userId()) {
      throw new IOException("it belongs to user " + owner + ", not to " + userId());
    }
    Set<PosixFilePermission> permissions =
        Files.getPosixFilePermissions(folder, LinkOption.NOFOLLOW_LINKS);
    if (!permissions.equals(PRIVATE)) {
      throw new IOException(
          "its permissions are %s, expected %s"
              .formatted(
                  PosixFilePermissions.toString(permissions),
                  PosixFilePermissions.toString(PRIVATE)));
    }
  }

  private static Path place(Path folder, Resource resource, Content content) throws IOException {
    Path file = folder.resolve(resource.name);
    if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) == content.size) {
      try (InputStream in = Files.newInputStream(file)) {
        if (content.is(content(in))) {
          return file;
        }
      }
    }
    // A library may be mapped by another process, so that an existing file is never written to.
    Path temporary = Files.createTempFile(folder, resource.name + ".", ".tmp");
    try {
      CRC32 written = new CRC32();
      try (InputStream in = new CheckedInputStream(open(resource), written);
          OutputStream out = Files.newOutputStream(temporary)) {
        in.transferTo(out);
      }
      if (!content.is(new Content(Files.size(temporary), written.getValue()))) {
        throw new IOException("it changed meanwhile");
      }
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(temporary);
    }
    return file;
  }

  private static Content content(InputStream in) throws IOException {
    CRC32 crc = new CRC32();
    long size = 0;
    byte[] buffer = new byte[BUFFER_BYTES];
    for (int read; (read = in.read(buffer)) >= 0; size += read) {
      crc.update(buffer, 0, read);
    }
    return new Content(size, crc.getValue());
  }

  /** Whether a file lies where the system executes nothing, as far as it tells. */
  static boolean isNoExecution(Path file) {
    try {
      boolean noExecution = false;
      int longest = -1;
      for (String line : Files.readAllLines(Path.of("/proc/self/mounts"))) {
        String[] fields = line.split(" "); // device, mount point, type, options
        String point = fields.length < 4 ? "" : fields[1].replace("\\040", " ");
        if (!point.isEmpty() && point.length() >= longest && file.startsWith(Path.of(point))) {
          longest = point.length();
          noExecution = List.of(fields[3].split(",")).contains("noexec");
        }
      }
      return noExecution;
    } catch (IOException | InvalidPathException e) {
      return false;
    }
  }

  /** The message of an exception, with its name where that says more. */
  static String describe(IOException e) {
    String name = e.getClass().getSimpleName();
    return e.getMessage() == null
        ? name
        : name.equals("IOException") ? e.getMessage() : name + ": " + e.getMessage();
  }
}
