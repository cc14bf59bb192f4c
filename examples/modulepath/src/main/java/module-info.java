/** A program that has Gatun as a module. */
module example.modulepath {
  requires dev.gatun;
}
