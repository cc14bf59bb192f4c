package dev.gatun.internal;

import java.io.IOException;
import java.net.URL;
import java.net.URLConnection;

/** Resources of the class path. */
public final class Resources {

  private Resources() {}

  /**
   * Opens a resource. The JVM keeps no handle of its jar afterwards.
   *
   * @param url where it is
   * @return a connection that has its size and its bytes
   * @throws IOException if it cannot be opened
   */
  public static URLConnection open(URL url) throws IOException {
    URLConnection connection = url.openConnection();
    connection.setUseCaches(false);
    return connection;
  }
}
