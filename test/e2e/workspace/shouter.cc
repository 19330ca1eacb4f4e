#include <iostream>

#include "shout.h"

int main() {
  for (std::string line; std::getline(std::cin, line);) std::cout << shout(line) << '\n';
}
