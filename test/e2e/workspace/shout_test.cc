#include <iostream>

#include "shout.h"

int main() {
  if (shout("hello") == "HELLO") return 0;
  std::cerr << "shout(\"hello\") is " << shout("hello") << '\n';
  return 1;
}
