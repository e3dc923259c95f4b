"""From what a person's images are like to a study of them: `regulab init PATH`."""
