from jaxgan.cli import main

main()
