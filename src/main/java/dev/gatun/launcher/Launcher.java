package dev.gatun.launcher;

import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.net.MalformedURLException;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The main class of the jar. It is compiled for Java 8, so that an older Java can run it and be
 * told what is needed, instead of complaining of the version of a class file. What the command line
 * depends on it finds on the class path, or in the folder {@code lib} beside the jar, where the
 * build puts it.
 */
public final class Launcher {
  private static final int OLDEST = 25;
  private static final int REFUSED = 2;
  private static final String MAIN = "dev.gatun.cli.Main";

  /** One class of each thing that the command line cannot do without. */
  private static final List<String> NEEDED =
      Arrays.asList(
          "picocli.CommandLine",
          "com.fasterxml.jackson.jr.ob.JSON",
          "com.fasterxml.jackson.core.JsonFactory");

  private Launcher() {}

  /**
   * Starts the command line.
   *
   * @param args the command and its options
   * @throws Throwable what the command throws, which should be nothing
   */
  public static void main(String[] args) throws Throwable {
    // "1.8", "17", "25"
    if (Double.parseDouble(System.getProperty("java.specification.version")) < OLDEST) {
      refuse(
          "expected Java "
              + OLDEST
              + " or newer, this is Java "
              + System.getProperty("java.version")
              + " in "
              + System.getProperty("java.home")
              + "; run a newer one's bin/java, or the launcher ./gatun of a checkout, which looks"
              + " for one");
    }
    ClassLoader loader = Launcher.class.getClassLoader();
    if (!isComplete(loader)) {
      loader = besideJar();
      if (loader == null || !isComplete(loader)) {
        refuse(
            "expected info.picocli:picocli and com.fasterxml.jackson.jr:jackson-jr-objects on the"
                + " class path, or in the folder lib beside the jar; run the launcher ./gatun of a"
                + " checkout, or java -cp with these jars and the main class "
                + MAIN);
      }
      Thread.currentThread().setContextClassLoader(loader);
    }
    try {
      Class.forName(MAIN, true, loader)
          .getMethod("main", String[].class)
          .invoke(null, (Object) args);
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }

  private static void refuse(String message) {
    System.err.println("gatun: " + message);
    System.exit(REFUSED);
  }

  private static boolean isComplete(ClassLoader loader) {
    for (String name : NEEDED) {
      try {
        Class.forName(name, false, loader);
      } catch (ClassNotFoundException e) {
        return false;
      }
    }
    return true;
  }

  /** Loads the jar once more, together with what lies beside it. */
  private static ClassLoader besideJar() throws MalformedURLException, URISyntaxException {
    URL own = Launcher.class.getProtectionDomain().getCodeSource().getLocation();
    List<URL> urls = new ArrayList<>();
    urls.add(own);
    if ("file".equals(own.getProtocol())) {
      File lib = new File(new File(own.toURI()).getParentFile(), "lib");
      addJars(lib, urls);
      addJars(new File(lib, "modules"), urls);
      addJars(new File(lib, "classpath"), urls);
    }
    return urls.size() == 1
        ? null
        : new URLClassLoader(
            urls.toArray(new URL[0]), ClassLoader.getSystemClassLoader().getParent());
  }

  private static void addJars(File folder, List<URL> urls) throws MalformedURLException {
    File[] files = folder.listFiles();
    if (files != null) {
      Arrays.sort(files);
      for (File file : files) {
        if (file.getName().endsWith(".jar")) {
          urls.add(file.toURI().toURL());
        }
      }
    }
  }
}
