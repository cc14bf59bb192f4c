package dev.gatun.cli;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import org.openqa.selenium.By;
import org.openqa.selenium.WebElement;
import org.openqa.selenium.chrome.ChromeDriver;
import org.openqa.selenium.chrome.ChromeDriverService;
import org.openqa.selenium.chrome.ChromeOptions;
import org.openqa.selenium.interactions.Actions;
import org.openqa.selenium.logging.LogEntry;
import org.openqa.selenium.logging.LogType;
import org.openqa.selenium.logging.LoggingPreferences;

/** A Chromium without a window, as Debian's packages chromium and chromium-driver install it. */
final class Browser implements AutoCloseable {
  private final ChromeDriver driver;

  Browser() {
    ChromeOptions options = new ChromeOptions();
    options.setBinary(program("chromium").toFile());
    // Containers run as root, where Chromium has no sandbox, and have a small /dev/shm.
    options.addArguments(
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1400,900");
    LoggingPreferences logs = new LoggingPreferences();
    logs.enable(LogType.BROWSER, Level.ALL);
    options.setCapability("goog:loggingPrefs", logs);
    driver =
        new ChromeDriver(
            new ChromeDriverService.Builder()
                .usingDriverExecutable(program("chromedriver").toFile())
                .build(),
            options);
  }

  /** What is missing fails the test: nobody should believe that it passed. */
  private static Path program(String name) {
    for (String folder : System.getenv("PATH").split(File.pathSeparator)) {
      Path file = Path.of(folder, name);
      if (Files.isExecutable(file)) {
        return file;
      }
    }
    throw new AssertionError(
        name + ": not found; on Debian: apt-get install chromium chromium-driver");
  }

  /** Opens a page and waits until it says that it is ready. */
  void open(Path page, String fragment) throws InterruptedException {
    driver.get("about:blank"); // another fragment alone would not load the page again
    driver.get(page.toUri() + fragment);
    for (int n = 0; n < 600 && driver.findElements(By.cssSelector("[data-ready]")).isEmpty(); n++) {
      Thread.sleep(50);
    }
    if (driver.findElements(By.cssSelector("[data-ready]")).isEmpty()) {
      throw new AssertionError("the page is not ready: " + complaints());
    }
  }

  WebElement element(String id) {
    return driver.findElement(By.id(id));
  }

  String text(String id) {
    return element(id).getText();
  }

  List<WebElement> all(String selector) {
    return driver.findElements(By.cssSelector(selector));
  }

  void click(String id) {
    element(id).click();
  }

  void press(CharSequence... keys) {
    new Actions(driver).sendKeys(keys).perform();
  }

  /**
   * Moves the pointer to a place of an element, a share of its width and height from the left top.
   */
  void pointAt(WebElement element, double x, double y) {
    int width = element.getSize().width;
    int height = element.getSize().height;
    new Actions(driver)
        .moveToElement(
            element, (int) Math.round((x - 0.5) * width), (int) Math.round((y - 0.5) * height))
        .perform();
  }

  Object run(String script) {
    return driver.executeScript(script);
  }

  /** Makes the system one that prefers light or dark. */
  void prefer(String scheme) {
    driver.executeCdpCommand(
        "Emulation.setEmulatedMedia",
        Map.of("features", List.of(Map.of("name", "prefers-color-scheme", "value", scheme))));
  }

  /** What the console got since it was last asked. */
  List<String> complaints() {
    return driver.manage().logs().get(LogType.BROWSER).getAll().stream()
        .map(LogEntry::toString)
        .toList();
  }

  @Override
  public void close() {
    driver.quit();
  }
}
