package dev.gatun.internal;

import java.io.IOException;
import java.net.URL;
import java.net.URLConnection;

/** Resources of the class path. */
public final class Resources {

  private Resources() {}

  /**
   * Finds a resource, in whichever way the program was put together: by the class loader that has
   * Gatun (which in a fat jar or a web application is not the system's), then by the context class
   * loader of this thread, then by the system's.
   *
   * @param name without a slash at its start
   * @return where it is, or null
   */
  public static URL find(String name) {
    URL url = find(Resources.class.getClassLoader(), name);
    if (url == null) {
      url = find(Thread.currentThread().getContextClassLoader(), name);
    }
    return url == null ? find(ClassLoader.getSystemClassLoader(), name) : url;
  }

  private static URL find(ClassLoader loader, String name) {
    return loader == null ? null : loader.getResource(name);
  }

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
